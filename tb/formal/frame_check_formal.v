// SPDX-License-Identifier: Apache-2.0
//
// Whatever comes in, images of BEATS beats go out: those of a whole image as they are, those of a
// short one with zeros behind, those of a long one cut off; and each image has its flag.

`default_nettype none

module frame_check_formal #(
    parameter BEATS = 3,
    parameter WIDTH = 2
) (
    input wire             clk,
    input wire             rst,
    input wire [WIDTH-1:0] s_axis_tdata,
    input wire             s_axis_tlast,
    input wire             s_axis_tvalid,
    input wire             m_axis_tready,
    input wire             m_flag_tready
);

    wire             s_axis_tready, m_axis_tlast, m_axis_tvalid;
    wire             m_flag_tdata, m_flag_tvalid, frame_error;
    wire [WIDTH-1:0] m_axis_tdata;

    frame_check #(
        .BEATS(BEATS), .WIDTH(WIDTH)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tlast(s_axis_tlast), .s_axis_tvalid(s_axis_tvalid),
        .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready),
        .m_flag_tdata(m_flag_tdata), .m_flag_tvalid(m_flag_tvalid), .m_flag_tready(m_flag_tready),
        .frame_error(frame_error)
    );

    axis_rules #(.WIDTH(WIDTH + 1), .ASSUME(1)) source (
        .clk(clk), .rst(rst), .payload({s_axis_tlast, s_axis_tdata}), .tvalid(s_axis_tvalid),
        .tready(s_axis_tready)
    );
    axis_rules #(.WIDTH(WIDTH + 1)) images (
        .clk(clk), .rst(rst), .payload({m_axis_tlast, m_axis_tdata}), .tvalid(m_axis_tvalid),
        .tready(m_axis_tready)
    );
    axis_rules #(.WIDTH(1)) flags (
        .clk(clk), .rst(rst), .payload(m_flag_tdata), .tvalid(m_flag_tvalid),
        .tready(m_flag_tready)
    );
    axis_progress #(.LIMIT(0)) progress (
        .clk(clk), .rst(rst), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tvalid(m_axis_tvalid), .m_tready(m_axis_tready && m_flag_tready)
    );

    // Beats of the image so far, in and out; that which came in and that which goes out are the
    // same image until the one has ended and the other has not.
    localparam COUNT_WIDTH = $clog2(BEATS + 1);
    reg [COUNT_WIDTH-1:0] taken = 0;  // at most BEATS
    reg [COUNT_WIDTH-1:0] given = 0;
    reg                   short = 1'b0;  // the image has ended before its time
    reg                   pending = 1'b0, faulty = 1'b0, pulse = 1'b0;

    wire take = s_axis_tvalid && s_axis_tready;
    wire give = m_axis_tvalid && m_axis_tready;
    wire done = give && given == BEATS - 1;
    wire bad  = short || !s_axis_tlast;

    always @(posedge clk) begin
        if (take)
            taken <= s_axis_tlast ? 0 : (taken == BEATS) ? BEATS : taken + 1'b1;
        if (give)
            given <= done ? 0 : given + 1'b1;
        if (done)
            short <= 1'b0;
        else if (take && s_axis_tlast && taken < BEATS)
            short <= 1'b1;
        pulse <= done && bad;
        if (done) begin
            pending <= 1'b1;
            faulty  <= bad;
        end else if (m_flag_tready) begin
            pending <= 1'b0;
        end
        if (rst) begin
            taken   <= 0;
            given   <= 0;
            short   <= 1'b0;
            pending <= 1'b0;
            pulse   <= 1'b0;
        end
    end

    always @* begin
        if (m_axis_tvalid) begin
            assert (m_axis_tlast == (given == BEATS - 1));
            if (short)
                assert (m_axis_tdata == 0);
            else
                assert (s_axis_tvalid && taken == given && m_axis_tdata == s_axis_tdata);
        end
        // A beat of the image goes out as it comes in, one beyond it never does, and none comes in
        // while a short image is made whole.
        if (take)
            assert (!short && give == (taken < BEATS));
        if (done && pending)
            assert (m_flag_tready);
        assert (m_flag_tvalid == pending);
        if (pending)
            assert (m_flag_tdata == faulty);
        assert (frame_error == pulse);
    end

endmodule

`default_nettype wire
