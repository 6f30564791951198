// SPDX-License-Identifier: Apache-2.0
//
// An image whose flag is 1 leaves no beat, any other leaves as it came; one flag for each image.

`default_nettype none

module frame_drop_formal #(
    parameter WIDTH = 2
) (
    input wire             clk,
    input wire             rst,
    input wire [WIDTH-1:0] s_axis_tdata,
    input wire             s_axis_tlast,
    input wire             s_axis_tvalid,
    input wire             s_flag_tdata,
    input wire             s_flag_tvalid,
    input wire             m_axis_tready
);

    wire             s_axis_tready, s_flag_tready, m_axis_tlast, m_axis_tvalid;
    wire [WIDTH-1:0] m_axis_tdata;

    frame_drop #(
        .WIDTH(WIDTH)
    ) dut (
        .s_axis_tdata(s_axis_tdata), .s_axis_tlast(s_axis_tlast), .s_axis_tvalid(s_axis_tvalid),
        .s_axis_tready(s_axis_tready),
        .s_flag_tdata(s_flag_tdata), .s_flag_tvalid(s_flag_tvalid), .s_flag_tready(s_flag_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready)
    );

    axis_rules #(.WIDTH(WIDTH + 1), .ASSUME(1)) source (
        .clk(clk), .rst(rst), .payload({s_axis_tlast, s_axis_tdata}), .tvalid(s_axis_tvalid),
        .tready(s_axis_tready)
    );
    axis_rules #(.WIDTH(1), .ASSUME(1)) flags (
        .clk(clk), .rst(rst), .payload(s_flag_tdata), .tvalid(s_flag_tvalid),
        .tready(s_flag_tready)
    );
    axis_rules #(.WIDTH(WIDTH + 1)) results (
        .clk(clk), .rst(rst), .payload({m_axis_tlast, m_axis_tdata}), .tvalid(m_axis_tvalid),
        .tready(m_axis_tready)
    );
    axis_progress #(.LIMIT(0)) progress (
        .clk(clk), .rst(rst), .s_tvalid(s_axis_tvalid && s_flag_tvalid),
        .s_tready(s_axis_tready), .m_tvalid(m_axis_tvalid), .m_tready(m_axis_tready)
    );

    wire take = s_axis_tvalid && s_axis_tready;
    wire give = m_axis_tvalid && m_axis_tready;

    // The flag that an image's first beat met is that of the whole image.
    reg inside = 1'b0, swallow = 1'b0;

    always @(posedge clk) begin
        if (take) begin
            inside <= !s_axis_tlast;
            if (!inside)
                swallow <= s_flag_tdata;
        end
        if (rst)
            inside <= 1'b0;
    end

    always @* begin
        if (m_axis_tvalid)
            assert (s_axis_tvalid
                    && {m_axis_tlast, m_axis_tdata} == {s_axis_tlast, s_axis_tdata});
        if (take)
            assert (s_flag_tvalid && give == !(inside ? swallow : s_flag_tdata));
        else
            assert (!give);
        assert ((s_flag_tvalid && s_flag_tready) == (take && s_axis_tlast));
    end

endmodule

`default_nettype wire
